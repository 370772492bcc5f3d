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
  /** Where the present copy was sent last; undefined: nowhere yet, or everywhere. */
  placed: Home | undefined
  /** The note last written or checked, so that the common request decodes none. Kept as long as the record is unpacked. */
  note: KnownNote | undefined
}

export interface KnownNote {
  readonly name: string
  readonly value: string
  readonly content: FloorNote
}

/** A record in use, `packed` while it is what it was read from. */
interface Unpacked {
  record: ClusterRecord
  packed: string | undefined
  note: KnownNote | undefined
}

/** Sessions of the last requests and writes that stay unpacked, so that a visitor's next request unpacks nothing. */
const UNPACKED_MOST = 1_024

/** Makes the entries of one table: they share the places for unpacked records. `isEverywhere`: all servers hold all sessions. */
export function createEntryMaker(isEverywhere: boolean): (record: ClusterRecord, origin: string) => Entry {
  const recent: (Held | undefined)[] = []
  let next = 0

  /** Takes the place of the one that was unpacked longest ago. */
  function keep(entry: Held): void {
    recent[next]?.pack()
    recent[next] = entry
    next = (next + 1) % UNPACKED_MOST
  }

  abstract class Held implements Entry {
    readonly key: string
    readonly origin: string
    abstract owner: string
    abstract claim: Dot | undefined
    abstract placed: Home | undefined
    #body: Unpacked | string

    constructor(record: ClusterRecord, origin: string) {
      this.key = record.key
      this.origin = origin
      this.#body = { record, packed: undefined, note: undefined }
      keep(this)
    }

    get record(): ClusterRecord {
      const body = this.#body
      if (typeof body !== 'string') return body.record
      const record = unpackRecord(this.key, body)
      this.#open(record, body)
      return record
    }

    set record(record: ClusterRecord) {
      const body = this.#body
      if (typeof body === 'string') this.#open(record, undefined)
      else {
        body.record = record
        body.packed = undefined
      }
    }

    peek(): ClusterRecord {
      return typeof this.#body === 'string' ? unpackRecord(this.key, this.#body) : this.#body.record
    }

    get endAt(): number {
      return typeof this.#body === 'string' ? endOfPacked(this.#body) : endOf(this.#body.record)
    }

    get heads(): Heads {
      return typeof this.#body === 'string' ? headsOfPacked(this.#body) : this.#body.record.heads
    }

    get note(): KnownNote | undefined {
      return typeof this.#body === 'string' ? undefined : this.#body.note
    }

    set note(note: KnownNote | undefined) {
      if (typeof this.#body !== 'string') this.#body.note = note
    }

    pack(): void {
      if (typeof this.#body !== 'string') this.#body = this.#body.packed ?? packRecord(this.#body.record)
    }

    #open(record: ClusterRecord, packed: string | undefined): void {
      this.#body = { record, packed, note: undefined }
      keep(this)
    }
  }

  /** Nobody owns it and it need not be placed: fields for that would take a tenth of the memory of a small session. */
  class Everywhere extends Held {
    get owner(): string {
      return ''
    }
    set owner(_: string) {}
    get claim(): undefined {
      return undefined
    }
    set claim(_: Dot | undefined) {}
    get placed(): undefined {
      return undefined
    }
    set placed(_: Home | undefined) {}
  }

  class Placed extends Held {
    owner = ''
    claim: Dot | undefined = undefined
    placed: Home | undefined = undefined
  }

  return isEverywhere ? (record, origin) => new Everywhere(record, origin) : (record, origin) => new Placed(record, origin)
}
