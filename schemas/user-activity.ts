import { oneOf, optional, text } from "../core/contract/fields.ts";
import { type EventOf, stream } from "../core/contract/stream.ts";
import { id, region, time } from "./order-fields.ts";

/** What somebody does in the shop. Keyed by user, so that a visit keeps its sequence. */
export const userActivity = stream("user-activity", {
  revision: 1,
  partitions: 3,
  key: "user_id",
  eventId: "event_id",
  eventTime: "occurred_at",
  dedupWindow: 20_000,
  fields: {
    event_id: id,
    user_id: id,
    occurred_at: time,
    kind: oneOf("view", "add-to-cart", "purchase"),
    page: text({ max: 256 }),
    sku: optional(text({ max: 64, doc: "The product that it is about; a view of the front page has none." })),
    region,
    device: oneOf("phone", "desktop", "tablet"),
  },
});

export type UserActivity = EventOf<typeof userActivity>;
