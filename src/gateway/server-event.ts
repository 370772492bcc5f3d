export type ServerState = 'up' | 'down' | 'draining'

/** What happened to one of the gateway's servers. `twin`: it tells the route label of another, which keeps it. */
export interface ServerEvent {
  readonly type: 'up' | 'down' | 'draining' | 'retry' | 'twin'
  readonly id: string
  readonly why: string
}
