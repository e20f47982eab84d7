// The package's ESM entry for Node has no declaration of its own.
declare module "wgsl_reflect/wgsl_reflect.module.js" {
  export { StructInfo, WgslReflect } from "wgsl_reflect";
}
