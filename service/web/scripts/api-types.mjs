// Writes the types of the API, src/api/schema.d.ts, from the service's OpenAPI document; --check
// fails where the file is out of date. Needs a Python that has the service installed: $PYTHON, else
// the project's virtual environment, else python3.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";

const venv = fileURLToPath(new URL("../../../.venv/bin/python", import.meta.url));
const python = process.env["PYTHON"] ?? (existsSync(venv) ? venv : "python3");
const target = fileURLToPath(new URL("../src/api/schema.d.ts", import.meta.url));
const script = fileURLToPath(new URL("openapi.py", import.meta.url));

const document = execFileSync(python, [script], {
  encoding: "utf8",
  maxBuffer: 1e8,
  stdio: ["ignore", "pipe", "inherit"],
});
const head =
  "/** Generated from the service's OpenAPI document by `npm run api`; do not edit. */\n\n";
const types = head + astToString(await openapiTS(document, { immutable: true }));

if (!process.argv.includes("--check")) {
  writeFileSync(target, types);
} else if (readFileSync(target, "utf8") !== types) {
  console.error("src/api/schema.d.ts is out of date: run `npm run api` and commit the result.");
  process.exit(1);
}
