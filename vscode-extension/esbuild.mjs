// Bundles the extension, the scripts of its pages and the tests that run in the extension host; `--tests`: only these.
import { build } from "esbuild";
import { readdirSync } from "node:fs";
import { rm } from "node:fs/promises";

const production = process.argv.includes("--production");
const common = { bundle: true, minify: production, sourcemap: !production, logLevel: "warning", target: "es2022" };
const node = { ...common, platform: "node", format: "cjs", external: ["vscode", "mocha"] };

const tests = readdirSync("test", { recursive: true })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => `test/${name}`);

await rm("dist/test", { recursive: true, force: true });
if (!process.argv.includes("--tests")) {
  await build({ ...node, entryPoints: ["src/extension.ts"], outfile: "dist/extension.js" });
  await build({
    ...common,
    platform: "browser",
    format: "iife",
    entryPoints: ["src/webview/session.ts", "src/webview/dashboard.ts"],
    outdir: "dist/webview",
  });
}
if (!production) await build({ ...node, entryPoints: tests, outbase: "test", outdir: "dist/test" });
