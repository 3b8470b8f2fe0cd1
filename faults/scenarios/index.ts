import type { Scenario } from "../deployment/scenario.ts";
import { applyReplyLost } from "./apply-reply-lost.ts";
import { clockJumps } from "./clock-jumps.ts";
import { parquetDeleted, parquetFlipped } from "./damaged-files.ts";
import { diskFull } from "./disk-full.ts";
import { everythingKilled } from "./everything-killed.ts";
import { brokerKillLoop, partitionsAdded, transactions } from "./kafka.ts";
import { retentionArchived, retentionLost, topicRecreated } from "./log-gone.ts";
import { logRewritten } from "./log-rewritten.ts";
import { rebalanceStorm, slowConsumer, zombieConsumer } from "./membership.ts";
import {
  redisEmpty,
  redisEvicts,
  redisKillLoop,
  redisMemoryLimit,
  redisOlderThanCut,
  redisPowerLoss,
  scriptsFlushed,
} from "./redis.ts";
import { restored } from "./restored.ts";
import { readsDuringPublishAndTrim } from "./slow-readers.ts";
import { speedKillAfterApply, speedKillAtRandom, speedKillBeforeApply } from "./speed-kill.ts";
import { temporalDatabaseLost, temporalKilled } from "./temporal-lost.ts";
import { workerKillEachStep, zombieActivity } from "./worker-steps.ts";

/** Every scenario there is. */
export const scenarios: readonly Scenario[] = [
  speedKillBeforeApply,
  speedKillAfterApply,
  speedKillAtRandom,
  applyReplyLost,
  zombieConsumer,
  rebalanceStorm,
  slowConsumer,
  redisEmpty,
  redisKillLoop,
  redisPowerLoss,
  redisOlderThanCut,
  redisMemoryLimit,
  redisEvicts,
  scriptsFlushed,
  brokerKillLoop,
  transactions,
  partitionsAdded,
  retentionArchived,
  retentionLost,
  topicRecreated,
  logRewritten,
  workerKillEachStep,
  zombieActivity,
  temporalKilled,
  temporalDatabaseLost,
  diskFull,
  parquetFlipped,
  parquetDeleted,
  readsDuringPublishAndTrim,
  clockJumps,
  restored,
  everythingKilled,
];
