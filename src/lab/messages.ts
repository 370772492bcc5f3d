/** What the lab and its server processes say to each other over their IPC channel. */
import type { SessionEvent } from '../types.ts'
import type { StrategyChoice } from './choice.ts'

export interface MeshConfig {
  readonly cluster: string
  readonly port: number
  /** `host:port` of every server of the cluster, this one included. */
  readonly peers: readonly string[]
}

export interface ServerConfig {
  readonly node: string
  /** Port of the shop; 0: any free one. */
  readonly port: number
  readonly cookieName: string
  readonly secrets: readonly string[]
  readonly choice: StrategyChoice
  readonly mesh: MeshConfig
  /** Unix ms: sessions that are older belong to an earlier strategy of this lab. */
  readonly since: number
  readonly controlUrl: string
}

/** Counted since the process started. */
export interface Counters {
  lostUpdates: number
  stale: number
}

/** What a server has of one session. */
export type Holding = 'owner' | 'copy' | 'ended' | 'none'

export interface Report {
  readonly sessions: number
  readonly rssBytes: number
  readonly sentBytes: number
  readonly receivedBytes: number
  /** Requests of visitors that this server answered with a session at hand. */
  readonly requests: number
  /** Messages with sessions in them, by the server they went to. */
  readonly sentTo: Readonly<Record<string, number>>
  readonly counters: Counters
  readonly notProtected: readonly string[]
}

export type ToServer =
  | { type: 'configure'; config: ServerConfig }
  | { type: 'report'; id: number }
  | { type: 'locate'; id: number; key: string }
  | { type: 'drain' }
  | { type: 'stop' }

export type FromServer =
  | { type: 'loaded' }
  | { type: 'listening'; port: number }
  | { type: 'ready' }
  | { type: 'report'; id: number; report: Report }
  /** By server: what it has of the session, as far as this one can know. */
  | { type: 'located'; id: number; holdings: Readonly<Record<string, Holding>> }
  | { type: 'drained' }
  | { type: 'failed'; code: string; message: string }
  | { type: 'event'; event: SessionEvent }
  /** A visitor presented a session of this cluster that this server knows nothing of. */
  | { type: 'stranger'; key: string }
  /** A visitor presented a session that was ended on purpose. */
  | { type: 'ended'; key: string }
