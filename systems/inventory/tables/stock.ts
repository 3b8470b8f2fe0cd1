import { count, last, sql, sum, table } from "../../../core/definition/builders.ts";
import { stockMovements } from "../schemas/stock-movements.ts";

const units = { unit: "units" };

/** The stock of every SKU in every warehouse, exact to the unit. */
export const stock = table("stock", {
  stream: stockMovements,
  key: { sku: sql`sku`, warehouse: sql`warehouse` },
  measures: {
    available: sum(sql`CASE WHEN kind IN ('received', 'released') THEN quantity ELSE -quantity END`, units),
    on_hand: sum(sql`CASE kind WHEN 'received' THEN quantity WHEN 'shipped' THEN -quantity ELSE 0 END`, units),
    received: sum(sql`CASE WHEN kind = 'received' THEN quantity ELSE 0 END`, units),
    shipped: sum(sql`CASE WHEN kind = 'shipped' THEN quantity ELSE 0 END`, units),
    movements: count({ unit: "movements" }),
    last_kind: last(sql`kind`),
  },
});

/** The newest movement of every SKU. */
export const lastMovement = table("last-movement", { stream: stockMovements, key: sql`sku` });
