// What the products of a calibrated job's forward passes may be asked to run on.

export const FORWARD_PRODUCTS = ["AUTO", "F32", "F32_STRASSEN"] as const;

/**
 * AUTO takes what is fastest of what the browser, the GPU and its budget allow: matrix units, else Strassen's products, else plain
 * float32. F32 is plain float32; F32_STRASSEN is float32 by Strassen's products where they are large.
 */
export type ForwardProducts = (typeof FORWARD_PRODUCTS)[number];
