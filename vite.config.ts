import { defineConfig, type Plugin } from "vite";

/** The development server styles by inline elements and reloads by WebSocket; the built page does neither. */
function relaxPolicyWhileDeveloping(): Plugin {
  return {
    name: "relax-policy-while-developing",
    apply: "serve",
    transformIndexHtml: (html) =>
      html
        .replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
        .replace("connect-src https: http:", "connect-src https: http: ws: wss:"),
  };
}

export default defineConfig({
  // Relative addresses: the build works from any static host under any path.
  base: "./",
  // A missing file is a 404 while previewing too, not the page.
  appType: "mpa",
  plugins: [relaxPolicyWhileDeveloping()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  worker: { format: "es" },
  build: {
    // The first versions with everything that the page needs; `using` is younger than these and is lowered.
    target: ["chrome123", "edge123", "firefox141", "safari26"],
    // Inlined files would be data: addresses, which the page's policy refuses.
    assetsInlineLimit: 0,
  },
});
