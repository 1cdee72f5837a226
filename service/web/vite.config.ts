import { defineConfig } from "vite";

// The service serves the built page at / and its files at /assets. While developing,
// `npm run dev` hands API calls to a service on its default port.
const api = "http://127.0.0.1:8000";

export default defineConfig({
  base: "./",
  build: { target: "es2022", assetsDir: "assets", sourcemap: false, chunkSizeWarningLimit: 600 },
  server: { proxy: { "/api": api } },
});
