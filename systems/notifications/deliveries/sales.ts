import { delivery, mail } from "../../../core/definition/builders.ts";

/** Mails each large order to sales. */
export const sales = delivery("sales", {
  to: mail({ to: process.env.SALES_MAIL ?? "sales@shop.example" }),
  rules: ["large-order"],
});
