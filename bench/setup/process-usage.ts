/** What a role reports at /metrics about its own process; the same on every operating system. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}

export async function usageOf(port: number): Promise<Usage> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const value = (name: string) => {
    const found = new RegExp(`^${name} ([\\d.e+]+)`, "m").exec(text)?.[1];
    if (found === undefined) throw new Error(`no ${name} at port ${port}`);
    return Number(found);
  };
  return { cpuSeconds: value("process_cpu_seconds_total"), residentBytes: value("process_resident_memory_bytes") };
}
