const PASSING = /coordinator|not the leader|does not host this topic/i;

/**
 * Does it again while a fresh Kafka's coordinator is still loading, or it does not lead a partition or know a new topic
 * yet, which kafkajs does not wait for.
 */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 40 || !PASSING.test((error as Error).message)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}
