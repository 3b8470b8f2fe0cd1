import { count, sql, sum, view } from "../../../core/definition/builders.ts";
import { stockMovements } from "../schemas/stock-movements.ts";

/** How much moves in each warehouse, minute by minute. */
export const movements = view("movements", {
  stream: stockMovements,
  by: { warehouse: sql`warehouse`, kind: sql`kind` },
  every: "1 minute",
  measures: { movements: count({ unit: "movements" }), quantity: sum(sql`quantity`, { unit: "units" }) },
});
