// Loaded before a role's own code (`node --import`): its wall clock is off by as many milliseconds as a file says at
// the moment. Plain JavaScript,
// because nothing strips types yet. Clocks that only measure durations (`performance.now`, timers) continue as they do
// when a machine's clock is set.
import { readFileSync } from "node:fs";

const file = process.env.TIDELINE_FAULT_CLOCK;

if (file !== undefined) {
  let offsetMs = 0;
  const look = () => {
    try {
      offsetMs = Number(readFileSync(file, "utf8"));
    } catch {
      offsetMs = 0; // no file: the clock is right
    }
  };
  look();
  setInterval(look, 50).unref();
  const Real = Date;
  const now = () => Real.now() + offsetMs;
  globalThis.Date = new Proxy(Real, {
    construct: (target, given, as) => Reflect.construct(target, given.length === 0 ? [now()] : given, as),
    apply: () => new Real(now()).toString(),
    get: (target, name) => (name === "now" ? now : Reflect.get(target, name)),
  });
}
