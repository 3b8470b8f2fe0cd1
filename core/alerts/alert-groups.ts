import { createHash } from "node:crypto";
import type { AlertEvent } from "./alert.ts";

/** Alerts that go into one message. */
interface AlertGroup {
  readonly id: string;
  readonly by: "rule" | "severity";
  readonly value: string | null;
  readonly members: readonly GroupMember[];
}

/** An alert, its place in the log, and the time when it was written. */
export interface GroupMember {
  readonly event: AlertEvent;
  readonly partition: number;
  readonly offset: bigint;
  readonly writtenAtMs: number;
}

/** The most alerts in one message. */
const MOST_MEMBERS = 200;
const ID_DIGITS = 20;

/**
 * Returns the groups of the alerts in one span of the log, by rule or severity. The same alerts give the same groups,
 * with the same ids, in whatever order they were read.
 */
export function groupsOf(members: readonly GroupMember[], by: "rule" | "severity"): AlertGroup[] {
  const inOrder = [...members].sort((a, b) => a.partition - b.partition || (a.offset < b.offset ? -1 : 1));
  const values = new Map<string | null, GroupMember[]>();
  for (const member of inOrder) {
    const value = member.event[by] ?? null;
    const held = values.get(value);
    if (held === undefined) values.set(value, [member]);
    else held.push(member);
  }
  const sorted = [...values].sort(([a], [b]) => ((a ?? "") < (b ?? "") ? -1 : 1));
  return sorted.flatMap(([value, all]) =>
    Array.from({ length: Math.ceil(all.length / MOST_MEMBERS) }, (_, index) => {
      const some = all.slice(index * MOST_MEMBERS, (index + 1) * MOST_MEMBERS);
      return { id: idOf(some), by, value, members: some };
    }),
  );
}

function idOf(members: readonly GroupMember[]): string {
  const hash = createHash("sha256").update(JSON.stringify(members.map(({ event }) => event.subject)));
  return `group-${hash.digest("hex").slice(0, ID_DIGITS)}`;
}
