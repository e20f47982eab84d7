// What belongs to a module, by its name: layers of experts have hundreds of Linears, and a plan asks for one again and again.

interface OfModule {
  readonly module: string;
}

const indexes = new WeakMap<readonly OfModule[], ReadonlyMap<string, OfModule>>();

/** These by their modules. The index is made once for the same array, which must not change. */
export function byModule<Each extends OfModule>(all: readonly Each[]): ReadonlyMap<string, Each> {
  // An array's index holds what the array does.
  const known = indexes.get(all) as ReadonlyMap<string, Each> | undefined;
  if (known) return known;
  const index = new Map(all.map((each) => [each.module, each]));
  indexes.set(all, index);
  return index;
}

/** Those that belong to some of these modules, in the order of the modules. */
export function ofModules<Each extends OfModule>(all: readonly Each[], modules: readonly string[]): Each[] {
  const index = byModule(all);
  return modules.flatMap((module) => index.get(module) ?? []);
}
