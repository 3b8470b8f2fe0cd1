const BEGIN_MS = 1_760_000_000_000;
/** A thousand events a second of event time: the log of a busy shop, read again from its beginning. */
const EVERY_MS = 1;

/** A made-up sale, the same one for the same index: what definitions/schemas/sale.ts describes. */
export function saleOf(index: number) {
  return {
    sale_id: `e0000000-0000-4000-8000-${String(index).padStart(12, "0")}`,
    sold_at: BEGIN_MS + index * EVERY_MS,
    region: `region-${index % 8}`,
    product: `product-${(index * 7_919) % 1_000}`,
    user_id: `user-${(index * 104_729) % 100_000}`,
    channel: ["web", "app", "shop"][index % 3],
    amount_cents: (index * 7_919) % 100_000,
    quantity: (index % 9) + 1,
  };
}

/** Twenty fields that the contract does not name, nested ones among them: some 590 bytes as JSON. */
export function undeclaredOf(index: number) {
  return {
    session: `s-${(index * 31) % 9_999}`,
    ip: `10.0.${index % 256}.${(index * 7) % 256}`,
    agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    referrer: "https://example.org/search?q=shoes",
    lat: 52.5 + (index % 100) / 1_000,
    lon: 13.4 + (index % 77) / 1_000,
    currency: "EUR",
    tax_rate: 0.19,
    discount: 0,
    gift: index % 2 === 0,
    coupon: null,
    shipping: { street: "Main Street 12", city: "Sometown", zip: "12345", geo: [52.5, 13.4] },
    tags: ["new", "sale", "summer"],
    version: 3,
    trace: `00-4bf92f3577b34da6a3ce929d0e0e4736-${String(index).padStart(16, "0")}-01`,
    experiment: { name: "checkout", arm: "b", weight: 0.5 },
    warehouse: index % 12,
    carrier: "dhl",
    note: "leave at the door",
    updated: "2026-03-01T08:02:00Z",
  };
}
