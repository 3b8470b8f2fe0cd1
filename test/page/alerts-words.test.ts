import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { alertsTitle, shellWord } from "../../serving/page/choose.js";

test("the title of the alerts counts them by severity, and says when it cannot count all", () => {
  const alerts = (...severities: (string | null)[]) => severities.map((severity) => ({ severity }));
  const title = (list: { severity: string | null }[], found = list.length, isFresh = true) =>
    alertsTitle({ alerts: list, found, isFresh });
  expect(title(alerts("warning"))).toBe("1 open alert (1 warning)");
  expect(title(alerts("info", "critical", "info"))).toBe("3 open alerts (1 critical, 2 info)");
  expect(title(alerts("info", "warning"), 900)).toBe("900 open alerts (the newest 2: 1 warning, 1 info)");
  expect(title(alerts(null))).toBe("1 open alert");
  expect(title(alerts("info"), 1, false)).toBe("1 open alert (1 info). They cannot be read at present");
});

test.each(["high-1f", "a b", "it's", "$(id)", "`id`", "a;b", "\n", '"', "\\", "*", "-x", ""])(
  "a shell reads %j as one word",
  (text) => {
    expect(execFileSync("sh", ["-c", `printf %s ${shellWord(text)}`], { encoding: "utf8" })).toBe(text);
  },
);
