/**
 * Lets messages in that wait for this worker, such as the one that asks to stop: WebAssembly runs go on from promise to
 * promise without them. Unlike a timer it is not slowed down when it is used often.
 */
export async function yieldToMessages(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  await new Promise<void>((resolve) => {
    port1.addEventListener("message", () => resolve(), { once: true });
    port1.start();
    port2.postMessage(null);
  });
  port1.close();
}
