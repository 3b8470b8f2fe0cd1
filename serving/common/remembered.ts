/** The value of a longer text is computed each time: long texts are rarely repeated. */
const MOST_CHARACTERS = 1_000;
const MOST_TEXTS = 500;

/** Returns the same function, which keeps its last values. Clients mostly send texts that they have sent before. */
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
