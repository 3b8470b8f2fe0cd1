import { constants } from "node:fs";
import { access, mkdir, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckPool, rowsOf } from "../../store/duckdb/duck.ts";
import type { Config } from "../setup/config.ts";
import { bytes } from "../terminal/sheet.ts";
import { type Finding, isAtLeast, judged, ok, problem, warning } from "./finding.ts";

const LEAST_NODE = "20.19";
/** One function of each extension that DuckDB must have built in: json, icu and parquet. */
const NEEDED = "'json_transform', 'icu_sort_key', 'read_parquet'";
const REINSTALL = "Install the packages of package.json again.";
const GIB = 1024 ** 3;

/** Checks this machine: Node, DuckDB, disks, and whether the data directory can be written. */
export async function checkMachine({ home }: Config): Promise<Finding[]> {
  const data = join(home, "data");
  return [
    checkNode(),
    await checkDuck(),
    await checkWritable(data),
    await checkDisk("disk.data", "the data directory", data),
    await checkDisk("disk.temp", "the folder for temporary files", tmpdir()),
  ];
}

function checkNode(): Finding {
  const { version } = process;
  return judged(isAtLeast(version, LEAST_NODE), "version.node", `Node ${version}`, {
    level: "problem",
    message: `Node ${version} is older than ${LEAST_NODE}, which Tideline needs`,
    todo: `Install Node ${LEAST_NODE} or newer.`,
  });
}

async function checkDuck(): Promise<Finding> {
  try {
    const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 128 });
    const duck = await pool.connect();
    const [[version] = []] = await rowsOf(duck, "SELECT version()");
    const functions = await rowsOf(
      duck,
      `SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_name IN (${NEEDED})`,
    );
    duck.closeSync();
    pool.close();
    if (functions.length === NEEDED.split(",").length) return ok("version.duckdb", `DuckDB ${version}`);
    return problem("version.duckdb", `DuckDB ${version} lacks JSON, ICU or Parquet`, REINSTALL);
  } catch (error) {
    return problem("version.duckdb", `DuckDB does not start: ${(error as Error).message}`, REINSTALL);
  }
}

async function checkWritable(folder: string): Promise<Finding> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.R_OK | constants.W_OK);
    return ok("data.writable", `${folder} can be written`);
  } catch (error) {
    const message = `${folder} cannot be written: ${(error as Error).message}`;
    return problem("data.writable", message, "Give this user the right to write there, or set TIDELINE_HOME.");
  }
}

async function checkDisk(check: string, what: string, folder: string): Promise<Finding> {
  const found = await statfs(folder).catch(() => null);
  if (found === null) return warning(check, `${folder} is not there`, "Create it.");
  const [free, size] = [found.bavail * found.bsize, found.blocks * found.bsize];
  const message = `${what} (${folder}) has ${bytes(free)} of ${bytes(size)} left`;
  if (free < GIB)
    return problem(check, message, "Free some space: below 1 GiB the archive and DuckDB's spill fail soon.");
  if (free < 5 * GIB) return warning(check, message, "Free some space, or move TIDELINE_HOME to a larger disk.");
  return ok(check, message);
}
