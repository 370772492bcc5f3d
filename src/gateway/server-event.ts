export type ServerState = 'up' | 'down' | 'draining'

/** What happened to one of the gateway's servers. */
export interface ServerEvent {
  readonly type: 'up' | 'down' | 'draining' | 'retry'
  readonly id: string
  readonly why: string
}
