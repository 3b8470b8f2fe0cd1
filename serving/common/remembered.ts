/** Texts that are longer are computed each time: they are not sent again and again. */
const MOST_CHARACTERS = 1_000;
const MOST_TEXTS = 500;

/**
 * The same function of a text, whose last values are kept: what clients send is nearly always what they sent before.
 */
export function remembered<T>(compute: (text: string) => T): (text: string) => T {
  const held = new Map<string, T>();
  return (text) => {
    const known = held.get(text);
    if (known !== undefined || held.has(text)) return known as T;
    const value = compute(text);
    if (text.length > MOST_CHARACTERS) return value;
    if (held.size >= MOST_TEXTS) held.clear();
    held.set(text, value);
    return value;
  };
}
