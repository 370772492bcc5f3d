import { MemcachedProtocolError } from './memcached-parser.ts'
import type { MemcachedReply } from './memcached-parser.ts'

/** The first exchange on a connection: whether the server speaks the meta protocol, and how large an item it takes. */
export interface MemcachedHandshake {
  readonly request: string
  /** Undefined: more is to come. Throws {@link MemcachedProtocolError} whose message is the problem. */
  take(reply: MemcachedReply): { readonly itemBytes: number | undefined } | undefined
}

export function memcachedHandshake(): MemcachedHandshake {
  let itemBytes: number | undefined
  let refused = false
  return {
    request: 'stats settings\r\nmn\r\n',
    take({ code, tokens }): { readonly itemBytes: number | undefined } | undefined {
      if (code === 'MN') return { itemBytes }
      if (code === 'STAT') {
        if (tokens[0] === 'item_size_max' && /^\d{1,10}$/.test(tokens[1] ?? '')) itemBytes = Number(tokens[1])
        return undefined
      }
      if (code === 'END') return undefined
      if (tokens[0] === 'Too') throw new MemcachedProtocolError('too many connections')
      if (code === 'CLIENT_ERROR' && tokens[0] === 'unauthenticated') throw new MemcachedProtocolError('wants authentication')
      // A proxy may know no statistics; one that knows no `mn` either is of no use.
      if (code === 'ERROR' && !refused) {
        refused = true
        return undefined
      }
      throw new MemcachedProtocolError('no meta protocol')
    },
  }
}
