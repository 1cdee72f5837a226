// Prints what the browser has to load, gzipped, and fails where it grew past its limit.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const dist = join(dirname(fileURLToPath(import.meta.url)), "..", "dist");
const LIMIT_KB = 175;

const kb = (path) => gzipSync(readFileSync(path), { level: 9 }).length / 1000;
const assets = join(dist, "assets");
const files = [
  ...readdirSync(assets).map((name) => [`assets/${name}`, kb(join(assets, name))]),
  ["index.html", kb(join(dist, "index.html"))],
];
const total = files.reduce((sum, [, size]) => sum + size, 0);
for (const [name, size] of files) console.log(`${size.toFixed(1).padStart(8)} kB gzip  ${name}`);
console.log(`${total.toFixed(1).padStart(8)} kB gzip  in all (limit ${LIMIT_KB} kB)`);
if (total > LIMIT_KB) {
  console.error(`The page is larger than its limit of ${LIMIT_KB} kB gzipped.`);
  process.exit(1);
}
