/** Which node of a cluster holds a key (Redis Cluster specification, "Key distribution model"). */

export const SLOTS = 16_384

/** CRC16 (XMODEM) of a name without braces, as those of sessions and users are, or of what is within the braces. */
export function slotOf(name: string): number {
  let crc = 0
  for (let index = 0; index < name.length; index++) {
    crc ^= name.charCodeAt(index) << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x80_00) === 0 ? crc << 1 : (crc << 1) ^ 0x10_21
    crc &= 0xff_ff
  }
  return crc % SLOTS
}

/** Per slot the master that holds it, as `HOST:PORT`. */
export type Owners = (string | undefined)[]

/** The reply of CLUSTER SLOTS; `askedHost` stands for a node that does not know its own address. */
export function ownersFrom(reply: unknown, askedHost: string): Owners | undefined {
  if (!Array.isArray(reply)) return undefined
  const owners: Owners = Array.from({ length: SLOTS })
  for (const range of reply as unknown[]) {
    const [first, last, master] = (Array.isArray(range) ? range : []) as [unknown, unknown, unknown]
    if (!Array.isArray(master)) return undefined
    const id = idOf(master[0] === null ? '' : String(master[0]), String(master[1]), askedHost)
    if (id === undefined) continue
    for (let slot = Number(first); slot <= Math.min(Number(last), SLOTS - 1); slot++) owners[slot] = id
  }
  return owners
}

export interface Redirect {
  readonly kind: 'MOVED' | 'ASK'
  readonly to: string
}

/** Of an error reply such as `MOVED 3999 127.0.0.1:6381`. */
export function redirectFrom(message: string, askedHost: string): Redirect | undefined {
  const parts = /^(MOVED|ASK) \d+ (\S*):(\d+)$/.exec(message)
  const to = parts === null ? undefined : idOf(parts[2] as string, parts[3] as string, askedHost)
  return to === undefined ? undefined : { kind: (parts as RegExpExecArray)[1] as Redirect['kind'], to }
}

function idOf(host: string, port: string, askedHost: string): string | undefined {
  return host === '?' ? undefined : `${host === '' ? askedHost : host}:${port}`
}

/** The view that most nodes share: one that was cut off may still hold an old one. */
export function prevailing(views: readonly Owners[]): Owners | undefined {
  const counts = new Map<string, { view: Owners; count: number }>()
  for (const view of views) {
    const text = view.join()
    const seen = counts.get(text)
    if (seen === undefined) counts.set(text, { view, count: 1 })
    else seen.count += 1
  }
  return [...counts.values()].sort((a, b) => b.count - a.count)[0]?.view
}

/** What follows the braces does not move it to another slot. */
export function probeName(prefix: string, number: number): string {
  return `${prefix}:p:{${number}}`
}

const PROBES_TRIED = 400_000

/** Per master a name in one of its slots: only the master of a slot answers for it. */
export function probesFor(owners: Owners, masters: ReadonlySet<string>, prefix: string): ReadonlyMap<string, string> {
  const probes = new Map<string, string>()
  for (let number = 0; number < PROBES_TRIED && probes.size < masters.size; number++) {
    const owner = owners[slotOf(String(number))]
    if (owner !== undefined && !probes.has(owner)) probes.set(owner, probeName(prefix, number))
  }
  return probes
}
