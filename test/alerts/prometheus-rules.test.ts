import { readFileSync } from "node:fs";
import { execa } from "execa";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { cacheFolder } from "../../stack/programs/cache.ts";
import { findPromtool } from "../../stack/programs/promtool.ts";

const promtool = () => findPromtool(cacheFolder(), { report: () => {}, signal: new AbortController().signal });

test("the rules fire when they must, and not before, as Prometheus evaluates them", async () => {
  const program = await promtool();
  const rules = await execa(program, ["test", "rules", "deploy/prometheus/alerts.test.yml"], { reject: false });
  expect(rules.exitCode, `${rules.stdout}\n${rules.stderr}`).toBe(0);
  const config = await execa(program, ["check", "config", "deploy/prometheus/prometheus.yml"], { reject: false });
  expect(config.exitCode, `${config.stdout}\n${config.stderr}`).toBe(0);
}, 300_000);

test("Alertmanager's routes and rules name receivers and alerts that there are", () => {
  const read = (file: string) => parse(readFileSync(file, "utf8")) as never;
  const { route, receivers, inhibit_rules } = read("deploy/alertmanager/alertmanager.yml") as {
    route: { receiver: string; routes: { receiver: string; matchers: string[] }[] };
    receivers: { name: string }[];
    inhibit_rules: { source_matchers: string[]; target_matchers: string[] }[];
  };
  const names = receivers.map(({ name }) => name);
  for (const { receiver } of [route, ...route.routes]) expect(names).toContain(receiver);
  const { groups } = read("deploy/prometheus/alerts.yml") as {
    groups: { rules: { alert: string; labels: { severity: string } }[] }[];
  };
  const rules = groups.flatMap((group) => group.rules);
  const severities = new Set(rules.map(({ labels }) => `severity = ${labels.severity}`));
  for (const { matchers } of route.routes) for (const matcher of matchers) expect([...severities]).toContain(matcher);
  const alerts = rules.map(({ alert }) => alert);
  const named = inhibit_rules.flatMap((one) => [...one.source_matchers, ...one.target_matchers]);
  for (const matcher of named)
    for (const name of matcher.replace(/^alertname =~? /, "").split("|")) expect(alerts).toContain(name);
});
