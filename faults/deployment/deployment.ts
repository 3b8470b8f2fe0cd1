import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Redis } from "ioredis";
import type { Servers } from "../../stack/servers/servers.ts";
import { deadLetterTopic, ensureTopics, letterTopicDefaults, topicName } from "../../store/kafka/cluster/topics.ts";
import type { Answer } from "../model/answer.ts";
import { Judge } from "../model/judge.ts";
import { Oracle } from "../model/oracle.ts";
import { ticks } from "../schemas/ticks.ts";
import { Readers } from "../traffic/readers.ts";
import { Source } from "../traffic/source.ts";
import { Fleet, type FleetSize } from "./fleet.ts";
import { RedisProxy } from "./redis-proxy.ts";
import { Refresher } from "./refresher.ts";

export interface DeploymentOptions {
  readonly servers: Servers;
  /** The oracle's own Redis. */
  readonly sketches: Redis;
  /** Folder for the homes of all installations of a run. */
  readonly folder: string;
  /** Keeps topics, keys, task queue and workflow ids apart. */
  readonly namespace: string;
  /** The folder of the program that the roles run. */
  readonly program: string;
  readonly seed: number;
  readonly size: FleetSize;
  /** Events a second. */
  readonly rate: number;
  readonly readers: number;
  /** Pause between two refreshes of a view. */
  readonly refreshEveryMs: number;
  readonly during: () => string;
  readonly say: (line: string) => void;
  readonly onAnswer: (deployment: Deployment, view: string, answer: Answer) => void;
}

const own = (folder: string) => fileURLToPath(new URL(`../${folder}`, import.meta.url));

/**
 * An installation under load, with everything that watches it: its roles as real processes, a source of events, an
 * oracle that follows the log, readers whose answers are judged, and a refresher.
 */
export class Deployment {
  readonly namespace: string;
  /** TIDELINE_HOME of its roles: `<home>/data` holds archive, manifests and states. */
  readonly home: string;
  readonly brokers: string;
  readonly fleet: Fleet;
  /** Produces events all the time: `pause()`, `resume()`, `burst(count)`, `transaction(count, end)`. */
  readonly source: Source;
  readonly oracle: Oracle;
  /** Query all the time. `tolerate(code)` allows a problem code while something is broken on purpose. */
  readonly readers: Readers;
  /**
   * Refreshes all views every few seconds: `pause()`, `resume()`; `run(workflow, kind, target, input)` starts any other
   * work.
   */
  readonly refresher: Refresher;
  /** Between the speed processes and Redis. */
  readonly proxy: RedisProxy;
  #latest = new Map<string, Answer>();

  private constructor(options: DeploymentOptions, home: string, fleet: Fleet, proxy: RedisProxy) {
    const { namespace, servers, seed, sketches, during, onAnswer } = options;
    this.namespace = namespace;
    this.home = home;
    this.brokers = servers.kafka.brokers;
    this.fleet = fleet;
    this.proxy = proxy;
    const topic = this.topic(ticks.name);
    this.oracle = new Oracle(this.brokers, topic);
    this.source = new Source({ brokers: this.brokers, topic, seed, rate: options.rate });
    this.readers = new Readers({
      urls: fleet.of("serve").map(({ url }) => url) as [string, ...string[]],
      oracle: this.oracle,
      judge: new Judge(this.oracle, sketches),
      source: this.source,
      topic,
      seed,
      count: options.readers,
      during,
      say: options.say,
      onAnswer: (view, answer) => {
        this.#latest.set(view, answer);
        onAnswer(this, view, answer);
      },
    });
    this.refresher = new Refresher({
      temporalAddress: servers.temporal.address,
      namespace,
      stream: ticks.name,
      views: this.oracle.views,
      everyMs: options.refreshEveryMs,
    });
  }

  /** Makes its topics, starts its roles, then everything that watches it. */
  static async open(options: DeploymentOptions): Promise<Deployment> {
    const { servers, namespace, program } = options;
    const home = join(options.folder, namespace);
    await mkdir(home, { recursive: true });
    const topic = topicName(namespace, ticks.name);
    await ensureTopics(servers.kafka.brokers, [
      { name: topic, partitions: ticks.partitions },
      { name: deadLetterTopic(topic), partitions: 1, config: letterTopicDefaults },
    ]);
    const proxy = await RedisProxy.open(servers.redis.url);
    const fleet = await Fleet.create(options.size, {
      home,
      program,
      env: {
        KAFKA_BROKERS: servers.kafka.brokers,
        REDIS_URL: servers.redis.url,
        TEMPORAL_ADDRESS: servers.temporal.address,
        TIDELINE_HOME: home,
        TIDELINE_NAMESPACE: namespace,
        TIDELINE_SCHEMAS: own("schemas"),
        TIDELINE_VIEWS: own("views"),
      },
      extra: { speed: { REDIS_URL: proxy.url }, worker: {}, serve: {} },
    });
    try {
      await fleet.start();
      return new Deployment(options, home, fleet, proxy);
    } catch (error) {
      await fleet.stop();
      await proxy.close();
      throw error;
    }
  }

  topic(stream: string): string {
    return topicName(this.namespace, stream);
  }

  /** The last answer about a view's newest position. */
  latest(view: string): Answer | undefined {
    return this.#latest.get(view);
  }

  /** Ends the load first, then the roles. */
  async close(): Promise<void> {
    await this.source.close();
    await Promise.all([this.readers.close(), this.refresher.close()]);
    await this.fleet.stop();
    await this.proxy.close();
    await this.oracle.close();
  }
}
