import { defineConfig } from "vite";

// The service serves the built page at / and its files at /assets. While developing,
// `npm run dev` hands API calls to a service on its default port.
const api = "http://127.0.0.1:8000";

export default defineConfig({
  base: "./",
  // The client's sources as they were written: its build for old browsers is twice the size.
  resolve: {
    alias: [{ find: /^tus-js-client$/, replacement: "tus-js-client/lib/browser/index.js" }],
  },
  build: { target: "es2022", assetsDir: "assets", sourcemap: false, chunkSizeWarningLimit: 600 },
  server: { proxy: { "/api": api } },
});
