// Loaded before a worker's own code (`node --import`), so that the program itself knows nothing of faults: sends this
// process a signal at the point
// that a scenario ordered. Plain JavaScript, because nothing strips types yet.
//
// A point is `<activity> before`, `<activity> after`, or `<folder> before`, `<folder> after`: around the link that
// makes a document exist in a folder
// (`manifests`, `entries`, `merged`). An order is taken once, by whichever process comes there first.

import fs from "node:fs";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { basename, dirname } from "node:path";
import { isMainThread } from "node:worker_threads";

const order = process.env.TIDELINE_FAULT_ORDER;

/** Carries out the order, if it is for this point. */
function pass(point) {
  let wanted;
  try {
    wanted = JSON.parse(fs.readFileSync(order, "utf8"));
  } catch {
    return; // none, or another process has just taken it
  }
  if (wanted.point !== point) return;
  try {
    fs.renameSync(order, `${order}.taken`);
  } catch {
    return; // another process was first
  }
  // The process of a worker for long work is a child of the one that was started.
  fs.writeFileSync(`${order}.pid`, `${process.pid} ${process.ppid}`);
  process.kill(process.pid, wanted.signal);
}

async function around(name, work) {
  pass(`${name} before`);
  const result = await work();
  pass(`${name} after`);
  return result;
}

if (order !== undefined && isMainThread) {
  const { Worker } = createRequire(import.meta.url)("@temporalio/worker");
  const create = Worker.create;
  Worker.create = (options) => {
    const watch = ({ info }) => ({
      inbound: { execute: (input, next) => around(info.activityType, () => next(input)) },
    });
    return create.call(Worker, { ...options, interceptors: { ...options.interceptors, activity: [watch] } });
  };
  // The bundle of the program has a worker of its own, which nothing outside of it reaches: this process loads modules.
  const exists = fs.existsSync;
  fs.existsSync = (path) => basename(String(path)) !== "program.cjs" && exists(path);
  const link = fs.promises.link;
  fs.promises.link = (from, to) => around(basename(dirname(String(to))), () => link(from, to));
  syncBuiltinESMExports();
}
