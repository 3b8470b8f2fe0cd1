/**
 * Does it again while a fresh Kafka's coordinator is still loading, or does not lead a partition yet, which kafkajs
 * does not wait for.
 */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 40 || !/coordinator|not the leader/i.test((error as Error).message)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}
