export interface Figures {
  /** CPU µs per request, all servers and the store. */
  readonly cpuMicros: number
  readonly perSecond: number
}

export interface Measured {
  readonly name: string
  readonly read: Figures
  readonly write: Figures
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

const PEERS = ['express-session + connect-redis', 'iron-session']

/** A table: CPU over the bare framework, as a ratio of each peer and of the floor, and the throughput beside the bare framework's. */
export function report(measured: readonly Measured[]): string {
  const of = (name: string): Measured | undefined => measured.find((one) => one.name === name)
  const bare = of('bare') as Measured
  const over = (one: Measured, kind: 'read' | 'write'): number => one[kind].cpuMicros - bare[kind].cpuMicros
  const lines = [`bare Express: ${bare.read.cpuMicros.toFixed(1)} CPU µs per request, ${bare.read.perSecond.toFixed(0)} requests/s`, '']
  for (const kind of ['read', 'write'] as const) {
    lines.push(
      `${kind.toUpperCase().padEnd(34)}${['µs over bare', 'of the floor', ...PEERS.map((peer) => `of ${peer.split(' ')[0]}`), 'throughput of bare'].map((text) => text.padStart(20)).join('')}`,
    )
    for (const one of measured) {
      if (one === bare) continue
      const ratio = (other: Measured | undefined): string => (other === undefined ? '' : (over(one, kind) / over(other, kind)).toFixed(2))
      const cells = [
        over(one, kind).toFixed(1),
        ratio(of('floor')),
        ...PEERS.map((peer) => ratio(of(peer))),
        (one[kind].perSecond / bare[kind].perSecond).toFixed(2),
      ]
      lines.push(`${one.name.padEnd(34)}${cells.map((cell) => cell.padStart(20)).join('')}`)
    }
    lines.push('')
  }
  return lines.join('\n')
}
