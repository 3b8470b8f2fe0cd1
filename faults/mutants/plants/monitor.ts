import type { Plant } from "./plant.ts";

/** Tideline's own alerts. */
export const monitorPlants: readonly Plant[] = [
  {
    name: "own-alert-opened-again",
    what: "a problem that has an open alert opens another one at a later look",
    file: "core/alerts/own-alerts.ts",
    find: "    if (open.has(key)) continue;\n",
    replace: "",
    necessary: true,
    scenarios: [],
  },
  {
    name: "own-alert-cleared-unseen",
    what: "an alert is cleared although its problem could not be looked at",
    file: "core/alerts/own-alerts.ts",
    find: "if (found.has(key) || !isKnown(look, key)) continue;",
    replace: "if (found.has(key)) continue;",
    necessary: true,
    scenarios: [],
  },
  {
    name: "own-alert-delivered-twice",
    what: "deliveries hand own alerts over again when they come in the stream of alerts",
    file: "core/alerts/undelivered.ts",
    find: "event.rule !== OWN_RULE && ",
    replace: "",
    necessary: true,
    scenarios: [],
  },
  {
    name: "own-journal-unfenced",
    what: "a process that stood still writes the journal of own alerts beside the one that took it over",
    file: "store/alerts/own-alert-journal.ts",
    find: "if (numbers.at(-1) !== next) {",
    replace: "if (numbers.length === 0) {",
    necessary: true,
    scenarios: [],
  },
  {
    name: "own-alert-appended-again",
    what: "it is not noted that own alerts are in the stream of alerts, so that they are written to it at every look",
    file: "monitor/watcher.ts",
    find: "      this.#journal = appended(this.#journal, messages);\n",
    replace: "",
    necessary: true,
    scenarios: [],
  },
];
