import type { Sessions } from '../types.ts'
import type { Data } from './visit.ts'

/** The server of that number, counted round where there are fewer. */
export function at(servers: readonly Sessions<Data>[], index: number): Sessions<Data> {
  return servers[index % servers.length] as Sessions<Data>
}
