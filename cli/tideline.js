#!/usr/bin/env node
// Tideline is TypeScript that runs as it is: tsx strips the types as files are loaded.
import { register } from "tsx/esm/api";

register();
await import("./tideline.ts");
