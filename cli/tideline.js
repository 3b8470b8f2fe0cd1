#!/usr/bin/env node
// Tideline is TypeScript that runs as it is: tsx strips the types as files are loaded.
import { register as registerHooks } from "node:module";
import { register } from "tsx/esm/api";

registerHooks("./own-imports.js", import.meta.url);
register();
const { run } = await import("./tideline.ts");
await run();
