/**
 * What a sealed session says about the log-outs everywhere of its user: which of them it came after. Such an event has an id of
 * 8 bytes, a Lamport counter (u32) and 4 random bytes, as base64url. A session ends with the first event that it has not
 * seen. So no clock is asked, an event forgotten after its time brings nobody back, and events that cross need no order.
 */
import type { ByteReader, ByteWriter } from './bytes.ts'

export interface Epoch {
  /** The highest counter of any user's event known where the session began. */
  readonly counter: number
  /** Events of the session's own user that it has seen. */
  readonly seen: readonly string[]
}

export const EVENT_BYTES = 8
/** Of more events of one user than this, the oldest are known by their counters only. */
const SEEN_MAX = 16
const NONE: Epoch = { counter: 0, seen: [] }

export function eventId(counter: number, random: Uint8Array): string {
  const bytes = Buffer.alloc(EVENT_BYTES)
  bytes.writeUInt32BE(Math.min(counter, 0xffff_ffff))
  bytes.set(random.subarray(0, 4), 4)
  return bytes.toString('base64url')
}

export function counterOf(event: string): number {
  return Buffer.from(event, 'base64url').readUInt32BE(0)
}

/** Undefined: nothing to remember. */
export function epochOf(counter: number, events: readonly string[]): Epoch | undefined {
  if (counter === 0 && events.length === 0) return undefined
  if (events.length <= SEEN_MAX) return { counter, seen: events }
  return { counter, seen: [...events].sort((a, b) => counterOf(b) - counterOf(a)).slice(0, SEEN_MAX) }
}

export function hasSeen(epoch: Epoch = NONE, event: string): boolean {
  if (epoch.seen.includes(event)) return true
  return epoch.seen.length >= SEEN_MAX && counterOf(event) < Math.min(...epoch.seen.map(counterOf))
}

export function writeEpoch(writer: ByteWriter, { counter, seen }: Epoch): void {
  writer.varint(counter).u8(seen.length)
  for (const event of seen) writer.raw(Buffer.from(event, 'base64url'))
}

export function readEpoch(reader: ByteReader): Epoch {
  const counter = reader.varint()
  const seen: string[] = []
  for (let left = reader.u8(); left > 0; left--) seen.push(reader.raw(EVENT_BYTES).toString('base64url'))
  return { counter, seen }
}
