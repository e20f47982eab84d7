/** Commit that the page is built from, put in by the build. */
declare const LAYERPRESS_COMMIT: string;
