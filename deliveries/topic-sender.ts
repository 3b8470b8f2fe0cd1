import { isTidelineError } from "../core/errors.ts";
import { type EventProducer, openProducer } from "../store/kafka/produce/producer.ts";
import { messageId, Refused, type Sender, type SenderOptions, type Sent } from "./sender.ts";

/**
 * Returns a sender that writes alerts to a topic. The key is the id of the alert or the group, and the header
 * `idempotency-key` is the same each time it is written. The sender keeps a producer, and opens another one after a
 * failure.
 */
export function topicSender(
  topic: string,
  { brokers, delivery }: Pick<SenderOptions, "brokers" | "delivery">,
  bodyOf: (sent: Sent) => string,
): Sender {
  let open: Promise<EventProducer> | null = null;
  const end = async () => {
    const producer = open;
    open = null;
    await producer?.then((one) => one.close()).catch(() => undefined);
  };
  const send = async (sent: Sent, signal: AbortSignal) => {
    signal.throwIfAborted();
    open ??= openProducer({ brokers, deliveryMs: DELIVERY_MS });
    const headers = { "idempotency-key": `${delivery}.${messageId(sent)}` };
    try {
      await (await open).send(topic, [{ key: sent.id, value: Buffer.from(bodyOf(sent)), headers }]);
    } catch (error) {
      await end();
      throw isTidelineError(error, "WRITE_REFUSED") ? new Refused(error.message) : error;
    }
  };
  return Object.assign(send, { close: end });
}

/** How long Kafka may be unreachable before an attempt counts as failed. */
const DELIVERY_MS = 10_000;
