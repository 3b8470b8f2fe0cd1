import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Ajv } from "ajv";
import type { Command } from "commander";
import { Registry } from "prom-client";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { batchMetrics } from "../../activities/metrics.ts";
import { settings } from "../../cli/setup/config.ts";
import { createProgram } from "../../cli/tideline.ts";
import { monitorMetrics } from "../../monitor/metrics.ts";
import { createMetrics } from "../../serving/operations/metrics.ts";
import { speedMetrics } from "../../speed-layer/metrics.ts";
import { system } from "../../systems/shop/system.ts";
import { composeSchema } from "../fixtures/oracles/compose-schema.ts";
import { metricsOf } from "../fixtures/oracles/promql.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const read = (file: string) => readFileSync(join(repository, file), "utf8");

interface Service {
  readonly image: string;
  readonly build?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly networks?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly deploy: { readonly resources: { readonly limits: { readonly memory: string } } };
  readonly "x-no-health-check"?: string;
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<Record<string, unknown>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

const composeText = read("docker-compose.yml");
const compose = parse(composeText, { merge: true }) as Compose;
const services = Object.entries(compose.services);
const roles = services.filter(([, { build }]) => build !== undefined);
const variables = new Set(Object.values(settings).map(({ variable }): string => variable));

describe("docker-compose.yml", () => {
  test("has the form that the compose specification asks for", () => {
    const ajv = new Ajv({ allErrors: true, allowUnionTypes: true });
    const valid = ajv.compile(composeSchema);
    valid(compose);
    expect(valid.errors ?? []).toEqual([]);
  });

  test("names each image with a version of its own", () => {
    for (const [name, { image }] of services) expect(image, name).toMatch(/^[a-z0-9./_-]+:v?\d+\.\d+[\w.-]*$/);
  });

  test("has a health check for every service, or says why not", () => {
    for (const [name, service] of services) {
      const { healthcheck, "x-no-health-check": reason = "" } = service;
      expect(healthcheck !== undefined || reason.length > 20, name).toBe(true);
    }
  });

  test("waits for what exists, and for health only where it is looked at", () => {
    for (const [name, { depends_on = {} }] of services)
      for (const [other, { condition }] of Object.entries(depends_on)) {
        const awaited = compose.services[other];
        expect(awaited, `${name} waits for ${other}`).toBeDefined();
        if (condition === "service_healthy") expect(awaited?.healthcheck, `${name} waits for ${other}`).toBeDefined();
      }
  });

  test("uses networks and volumes that it declares, and files that exist", () => {
    for (const [name, { networks = [], volumes = [] }] of services) {
      for (const network of networks) expect(Object.keys(compose.networks), name).toContain(network);
      for (const volume of volumes) {
        const [source = ""] = volume.split(":");
        if (source.startsWith("./"))
          expect(() => statSync(join(repository, source)), `${name}: ${source}`).not.toThrow();
        else expect(Object.keys(compose.volumes), name).toContain(source);
      }
    }
  });

  test("opens ports to this machine alone", () => {
    const ports = services.flatMap(([, { ports = [] }]) => ports);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+$/);
    expect(new Set(ports.map((port) => port.match(/:-(\d+)/)?.[1])).size).toBe(ports.length);
  });

  test("gives Tideline only settings that it knows", () => {
    expect(roles.map(([name]) => name).sort()).toEqual(["init", "serve", "simulate", "speed", "worker"]);
    for (const [name, { environment = {} }] of roles)
      for (const variable of Object.keys(environment)) expect([...variables], name).toContain(variable);
  });

  test("asks for no variable that is neither a setting nor documented", () => {
    const documented = read("docs/deploying.md");
    const asked = [...composeText.matchAll(/\$\{([A-Z_]+)(:-[^}]*)?\}/g)];
    expect(asked.length).toBeGreaterThan(10);
    for (const [text, variable = "", byDefault] of asked) {
      expect(byDefault, `${text} has a default`).toBeDefined();
      expect(variables.has(variable) || documented.includes(`\`${variable}\``), variable).toBe(true);
    }
  });

  test("asks each role's health at the port where it listens", () => {
    const ports = { speed: settings.speedPort, worker: settings.workerPort, serve: settings.apiPort };
    for (const [role, { byDefault }] of Object.entries(ports))
      expect(compose.services[role]?.healthcheck?.test.at(-1)).toContain(`:${byDefault}/`);
  });

  test("simulates the shop that `tideline up` simulates", () => {
    const { command = [] } = compose.services.simulate ?? {};
    const rate = command[command.indexOf("--rate") + 1] ?? "";
    expect(command).toEqual(system.simulation?.args(rate));
    expect(rate).toMatch(/:-5\}$/);
  });

  test("calls commands that the program has", async () => {
    const program = await createProgram();
    for (const [name, { command = [] }] of roles) {
      const words = command.filter((word) => /^[a-z]+$/.test(word));
      const flags = command.filter((word) => word.startsWith("--"));
      const find = (command: Command, word: string) => command.commands.find((one) => one.name() === word) ?? command;
      const help = words.reduce(find, program).helpInformation();
      expect(help, name).toContain(`Usage: tideline ${words.join(" ")}`);
      for (const flag of flags) expect(help, name).toContain(flag);
    }
  });
});

describe("Dockerfile", () => {
  const dockerfile = read("Dockerfile");
  const copied = new Set([...dockerfile.matchAll(/^COPY ([a-z-]+) \1$/gm)].map(([, folder = ""]) => folder));

  test("copies every folder that the program runs from, and no other", () => {
    expect([...copied].sort()).toEqual([...foldersBehind("cli/tideline.ts")].sort());
  });

  test("copies nothing that the build does not see", () => {
    const unseen = read(".dockerignore").split("\n");
    for (const folder of copied) expect(unseen).not.toContain(folder);
    expect(unseen).toEqual(expect.arrayContaining([".git", "node_modules", ".tideline"]));
  });

  test("builds on pinned images and runs as nobody in particular", () => {
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
    expect(bases.length).toBeGreaterThan(0);
    for (const base of bases) expect(base).toMatch(/^node:\d+\.\d+\.\d+-[a-z]+-slim$/);
    expect(dockerfile).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m);
  });
});

// npm leaves out the hashes of platforms that are not installed. To add them remove these entries, and run
// `npm install --package-lock-only` in a folder with nothing but package.json and package-lock.json.
test("the lock file has a hash for every package of every platform, and names no registry", () => {
  const text = read("package-lock.json");
  const { packages } = JSON.parse(text) as { packages: Record<string, { integrity?: string; link?: boolean }> };
  const lacking = Object.entries(packages)
    .filter(([name, { integrity, link = false }]) => name !== "" && !link && !integrity?.startsWith("sha512-"))
    .map(([name]) => name);
  expect(lacking).toEqual([]);
  expect(Object.keys(packages).length).toBeGreaterThan(100);
  expect(text).not.toContain('"resolved"');
});

/** The rooms that a file's imports lead to, with the system, which is loaded by folder. */
function foldersBehind(entry: string): Set<string> {
  const seen = new Set<string>();
  const visit = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const [, path = ""] of read(file).matchAll(/(?:from|import\(|import) ?"(\.{1,2}\/[^"]+\.ts)"/g))
      visit(join(file, "..", path));
    // Workflows are bundled from the file that the worker names.
    for (const [, path = ""] of read(file).matchAll(/new URL\("(\.{1,2}\/[^"]+\.ts)", import\.meta\.url\)/g))
      visit(join(file, "..", path));
  };
  visit(entry);
  const system = "systems/shop";
  visit(join(system, "system.ts"));
  for (const view of readdirSync(join(repository, system, "views"))) visit(join(system, "views", view));
  return new Set([...seen].map((file) => file.split("/")[0] ?? ""));
}

describe("what Prometheus and Grafana ask for", () => {
  /** Of programs that are not ours. */
  const foreign: Readonly<Record<string, readonly string[]>> = {
    up: [],
    redis_memory_used_bytes: [],
    redis_memory_max_bytes: [],
    process_resident_memory_bytes: [],
    process_cpu_seconds_total: [],
  };
  const labelsOf = new Map<string, readonly string[]>();
  beforeAll(() => {
    const [speed, batch] = [new Registry(), new Registry()];
    speedMetrics(speed);
    batchMetrics(batch);
    monitorMetrics(
      speed,
      () => false,
      () => new Map(),
    );
    const registries = [speed, batch, createMetrics().registry];
    for (const metric of registries.flatMap((each) => each.getMetricsAsArray())) {
      const { name, type, labelNames } = metric as typeof metric & { type: string; labelNames: readonly string[] };
      labelsOf.set(name, labelNames);
      if (type === "histogram") {
        for (const part of ["sum", "count"]) labelsOf.set(`${name}_${part}`, labelNames);
        labelsOf.set(`${name}_bucket`, [...labelNames, "le"]);
      }
    }
    for (const [name, labels] of Object.entries(foreign)) labelsOf.set(name, labels);
  });

  /** Every metric must be exported, and carry the labels that it is selected and grouped by. */
  function check(where: string, expression: string, shown: readonly string[] = []): void {
    const { metrics, labels } = metricsOf(expression);
    expect(metrics.length, where).toBeGreaterThan(0);
    for (const metric of metrics) expect([...labelsOf.keys()], where).toContain(metric);
    const known = new Set([...metrics.flatMap((metric) => labelsOf.get(metric) ?? []), "job", "instance"]);
    for (const label of [...labels, ...shown]) expect([...known], `${where}: ${expression}`).toContain(label);
  }

  test("the rules name metrics and labels that exist, and say what to do", () => {
    const { groups } = parse(read("deploy/prometheus/alerts.yml")) as {
      groups: readonly {
        rules: readonly { alert: string; expr: string; annotations: { summary: string; todo: string } }[];
      }[];
    };
    const rules = groups.flatMap(({ rules }) => rules);
    expect(rules.length).toBeGreaterThan(8);
    for (const { alert, expr, annotations } of rules) {
      const text = `${annotations.summary} ${annotations.todo}`;
      check(
        alert,
        expr,
        [...text.matchAll(/\$labels\.([a-z_]+)/g)].map(([, label = ""]) => label),
      );
      expect(annotations.todo.length, alert).toBeGreaterThan(30);
    }
  });

  test("the dashboards name metrics and labels that exist, and a datasource that is provisioned", () => {
    const { datasources } = parse(read("deploy/grafana/provisioning/datasources/prometheus.yml")) as {
      datasources: readonly { uid: string }[];
    };
    const files = readdirSync(join(repository, "deploy/grafana/dashboards"));
    for (const file of files) {
      const { panels } = JSON.parse(read(`deploy/grafana/dashboards/${file}`)) as {
        panels: readonly {
          id: number;
          title: string;
          type: string;
          datasource?: { uid: string };
          targets?: readonly { expr: string; legendFormat: string }[];
        }[];
      };
      expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
      for (const { title, type, datasource, targets = [] } of panels.filter(({ type }) => type !== "row")) {
        expect(
          datasources.map(({ uid }) => uid),
          `${title} (${type})`,
        ).toContain(datasource?.uid);
        expect(targets.length, title).toBeGreaterThan(0);
        for (const { expr, legendFormat } of targets)
          check(
            title,
            expr,
            [...legendFormat.matchAll(/\{\{([a-z_]+)\}\}/g)].map(([, label = ""]) => label),
          );
      }
    }
  });

  test("Prometheus asks every role at the port where it listens", () => {
    const { scrape_configs } = parse(read("deploy/prometheus/prometheus.yml")) as {
      scrape_configs: readonly { job_name: string; dns_sd_configs?: readonly { names: string[]; port: number }[] }[];
    };
    const asked = scrape_configs.flatMap(({ dns_sd_configs = [] }) =>
      dns_sd_configs.map(({ names, port }) => `${names}:${port}`),
    );
    expect(asked).toEqual([
      `speed:${settings.speedPort.byDefault}`,
      `worker:${settings.workerPort.byDefault}`,
      `serve:${settings.apiPort.byDefault}`,
    ]);
    for (const [name, { networks = [] }] of roles.filter(([, { healthcheck }]) => healthcheck !== undefined))
      expect(networks, name).toContain("monitoring");
  });
});
