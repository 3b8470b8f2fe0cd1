import { expect, test } from "vitest";
import { ApplyQueue, type Write } from "../../speed-layer/apply-queue.ts";

/** Writes that are begun and ended by hand, and a queue for them whose clock stands still. */
function place() {
  const begun: string[] = [];
  const ends = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  const write = (name: string): Write => {
    return () => {
      begun.push(name);
      return new Promise<void>((resolve, reject) => ends.set(name, { resolve, reject }));
    };
  };
  const clock = { ms: 0, nowMs: () => clock.ms };
  const queue = new ApplyQueue(clock);
  return {
    queue,
    clock,
    begun,
    write,
    push: (...names: readonly string[]) => queue.push(listed(names.map(write))),
    end: (name: string) => ends.get(name)?.resolve(),
    fail: (name: string) => ends.get(name)?.reject(new Error(`${name} failed`)),
  };
}

async function* listed(writes: readonly Write[]): AsyncGenerator<Write> {
  yield* writes;
}

/** Lets everything go on that waits for nothing from outside. */
const calm = () => new Promise((resolve) => setImmediate(resolve));

/** Whether a promise is still pending when all is calm. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true;
  const settled = () => {
    pending = false;
  };
  promise.then(settled, settled);
  await calm();
  return pending;
}

test("the writes of one batch run at the same time, and push does not wait for their end", async () => {
  const { push, begun } = place();
  await push("a1", "a2");
  expect(begun).toEqual(["a1", "a2"]);
});

test("a write begins before the next one of its batch is known", async () => {
  const { queue, begun, write } = place();
  let known = () => {};
  const next = new Promise<void>((resolve) => {
    known = resolve;
  });
  async function* writes() {
    yield write("a1");
    await next;
    yield write("a2");
  }
  const pushed = queue.push(writes());
  await calm();
  expect(begun).toEqual(["a1"]);
  known();
  await pushed;
  expect(begun).toEqual(["a1", "a2"]);
});

test("a batch waits until every write of the batch before has ended, and tells for how long", async () => {
  const { push, begun, end, clock } = place();
  await push("a1", "a2");
  const pushed = push("b1", "b2");
  await calm();
  end("a1");
  await calm();
  expect(begun).toEqual(["a1", "a2"]);
  clock.ms = 7;
  end("a2");
  expect(await pushed).toBe(7);
  expect(begun).toEqual(["a1", "a2", "b1", "b2"]);
});

test("what is done afterwards begins when all was taken, and the next batch waits for it", async () => {
  const { queue, push, begun, end, write } = place();
  await push("a1");
  queue.afterwards(write("touch"));
  const pushed = push("b1");
  await calm();
  expect(begun).toEqual(["a1"]);
  end("a1");
  await calm();
  expect(begun).toEqual(["a1", "touch"]);
  end("touch");
  await pushed;
  expect(begun).toEqual(["a1", "touch", "b1"]);
});

test("settle ends when everything has ended", async () => {
  const { queue, push, end } = place();
  await queue.settle();
  await push("a1", "a2");
  const settled = queue.settle();
  end("a1");
  expect(await isPending(settled)).toBe(true);
  end("a2");
  await settled;
});

test("an error is thrown when the other writes of its batch have ended, again and again, and nothing is sent in between", async () => {
  const { queue, push, begun, end, fail, write } = place();
  await push("a1", "a2");
  fail("a1");
  const pushed = push("b1");
  expect(await isPending(pushed)).toBe(true);
  end("a2");
  await expect(pushed).rejects.toThrow("a1 failed");
  queue.afterwards(write("touch"));
  await expect(push("c1")).rejects.toThrow("a1 failed");
  await expect(queue.settle()).rejects.toThrow("a1 failed");
  expect(begun).toEqual(["a1", "a2"]);
});

test("abandon forgets errors, and what was sent before is still waited for", async () => {
  const { queue, push, begun, end, fail } = place();
  await push("a1", "a2");
  queue.abandon();
  const settled = queue.settle();
  const pushed = push("b1");
  fail("a1");
  expect([await isPending(settled), await isPending(pushed)]).toEqual([true, true]);
  expect(begun).toEqual(["a1", "a2"]);
  end("a2");
  await settled;
  await pushed;
  expect(begun).toEqual(["a1", "a2", "b1"]);
});

test("an error that was thrown already is forgotten by abandon", async () => {
  const { queue, push, begun, fail } = place();
  await push("a1");
  fail("a1");
  await expect(queue.settle()).rejects.toThrow("a1 failed");
  queue.abandon();
  await push("b1");
  expect(begun).toEqual(["a1", "b1"]);
});

test("a batch counts as confirmed when all of its writes were taken, also after abandon; one that failed does not", async () => {
  const { queue, push, end, fail } = place();
  await push("a1", "a2");
  end("a1");
  await calm();
  expect(queue.confirmed).toBe(0);
  queue.abandon();
  end("a2");
  await calm();
  expect(queue.confirmed).toBe(1);
  await push();
  await push("b1");
  fail("b1");
  await calm();
  expect(queue.confirmed).toBe(1);
});

test("what computes the writes may fail: those that were sent are waited for", async () => {
  const { queue, begun, end, write } = place();
  async function* writes() {
    yield write("a1");
    throw new Error("no more");
  }
  await expect(queue.push(writes())).rejects.toThrow("no more");
  expect(begun).toEqual(["a1"]);
  const settled = queue.settle();
  expect(await isPending(settled)).toBe(true);
  end("a1");
  await settled;
  expect(queue.confirmed).toBe(0);
});
