import { pathToFileURL } from "node:url";
import { inject } from "vitest";
import { setProgram } from "../store/files/program.ts";

// Workers in a test's own process take the bundle of the workflows that the compiled program keeps.
setProgram({ folder: inject("programFolder"), load: (file) => import(pathToFileURL(file).href) });
