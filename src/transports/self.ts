/** How a server names itself to the others. */
import { SessionError } from '../errors.ts'
import type { Peer } from '../seam.ts'

export const MAX_NODE_BYTES = 255
export const MAX_INCARNATION_BYTES = 128

export function checkSelf({ node, incarnation }: Peer): void {
  const fits = (text: string, most: number): boolean => text !== '' && Buffer.byteLength(text) <= most
  if (fits(node, MAX_NODE_BYTES) && fits(incarnation, MAX_INCARNATION_BYTES)) return
  throw new SessionError(
    'CONFIG_INVALID',
    `The name of this server must have 1 to ${MAX_NODE_BYTES} bytes: set the node option or HOLDFAST_NODE.`,
  )
}
