import type { Heads } from '../core/floor.ts'
import type { Dot } from '../core/merge.ts'
import type { FloorNote } from './floor-note.ts'
import { endOfPacked, headsOfPacked, packRecord, unpackRecord } from './packed.ts'
import type { Home } from './placement.ts'
import { type ClusterRecord, endOf } from './record.ts'

/** A copy held here, and what this server knows about who else holds it. */
export interface Entry {
  readonly key: string
  /** Unpacks it, and keeps it unpacked for a while: for requests and writes. */
  record: ClusterRecord
  /** The record for one look: for what walks over many sessions. */
  peek(): ClusterRecord
  /** Unix ms: the end of the record, without unpacking it. */
  readonly endAt: number
  /** Of the record, without unpacking it. */
  readonly heads: Heads
  /** The origin of this server's writes to it. */
  readonly origin: string
  /** Incarnation of the owner (affinity); '' where nobody has claimed it. */
  owner: string
  /** The write that claimed it: the later claim wins. */
  claim: Dot | undefined
  /** Where the present copy was sent last; undefined: nowhere yet. */
  placed: Home | undefined
  /** The note last written or checked, so that the common request decodes none. Kept as long as the record is unpacked. */
  note: { readonly name: string; readonly value: string; readonly content: FloorNote } | undefined
}

/** Sessions of the last requests and writes that stay unpacked, so that a visitor's next request unpacks nothing. */
const UNPACKED_MOST = 1_024

/** Makes the entries of one table: they share the places for unpacked records. */
export function createEntryMaker(): (record: ClusterRecord, origin: string) => Entry {
  const unpacked: { readonly entry: Held; readonly record: ClusterRecord; readonly packed: string | undefined }[] = []
  let next = 0

  /** Takes the place of the one that was unpacked longest ago. `packed`: what the record was read from. */
  function keep(entry: Held, record: ClusterRecord, packed: string | undefined): void {
    const oldest = unpacked[next]
    unpacked[next] = { entry, record, packed }
    next = (next + 1) % UNPACKED_MOST
    oldest?.entry.pack(oldest.record, oldest.packed)
  }

  class Held implements Entry {
    readonly key: string
    readonly origin: string
    owner = ''
    claim: Dot | undefined = undefined
    placed: Home | undefined = undefined
    note: Entry['note'] = undefined
    #body: ClusterRecord | string

    constructor(record: ClusterRecord, origin: string) {
      this.key = record.key
      this.origin = origin
      this.#body = record
      keep(this, record, undefined)
    }

    get record(): ClusterRecord {
      const body = this.#body
      if (typeof body !== 'string') return body
      const record = unpackRecord(this.key, body)
      this.#body = record
      keep(this, record, body)
      return record
    }

    set record(record: ClusterRecord) {
      const wasPacked = typeof this.#body === 'string'
      this.#body = record
      if (wasPacked) keep(this, record, undefined)
    }

    peek(): ClusterRecord {
      return typeof this.#body === 'string' ? unpackRecord(this.key, this.#body) : this.#body
    }

    get endAt(): number {
      return typeof this.#body === 'string' ? endOfPacked(this.#body) : endOf(this.#body)
    }

    get heads(): Heads {
      return typeof this.#body === 'string' ? headsOfPacked(this.#body) : this.#body.heads
    }

    pack(record: ClusterRecord, packed: string | undefined): void {
      if (typeof this.#body === 'string') return
      this.#body = this.#body === record && packed !== undefined ? packed : packRecord(this.#body)
      this.note = undefined
    }
  }

  return (record, origin) => new Held(record, origin)
}
