/** What a role reports at /metrics about its processes, added up; the same on every operating system. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}

export async function usageOf(port: number): Promise<Usage> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const value = (name: string) => {
    const found = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? ([\\d.e+]+)`, "gm"))];
    if (found.length === 0) throw new Error(`no ${name} at port ${port}`);
    return found.reduce((sum, [, number]) => sum + Number(number), 0);
  };
  return { cpuSeconds: value("process_cpu_seconds_total"), residentBytes: value("process_resident_memory_bytes") };
}
