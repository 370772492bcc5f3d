// oxlint-disable no-underscore-dangle -- the names are node's
/**
 * A handler that throws after its whole answer makes frameworks destroy the socket. Without Holdfast the answer has left by
 * then; while it is held, the destruction waits for it, 2 seconds at most.
 */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { NodeSocket } from './node-response.ts'

const GUARD: unique symbol = Symbol('holdfast.guard')
/** A commit that takes longer, or a visitor that does not read, does not keep a socket that was to be destroyed. */
const LINGER_MS = 2000

interface Guard {
  readonly destroy: Socket['destroy']
  readonly isHeld: (response: ServerResponse) => boolean
  waiting: boolean
}

interface GuardedSocket extends NodeSocket {
  [GUARD]?: Guard
}

/** Once per connection. */
export function guardSocket(socket: Socket, isHeld: (response: ServerResponse) => boolean): void {
  const guarded = socket as GuardedSocket
  if (guarded[GUARD] !== undefined) return
  guarded[GUARD] = { destroy: guarded.destroy, isHeld, waiting: false }
  guarded.destroy = destroy
}

function destroy(this: GuardedSocket, error?: Error): GuardedSocket {
  const guard = this[GUARD] as Guard
  const response = this._httpMessage
  // A socket that is no longer writable belongs to a client that has left: nothing waits for it.
  if (error !== undefined || !this.writable || !response || !guard.isHeld(response)) {
    return guard.destroy.call(this, error) as GuardedSocket
  }
  if (guard.waiting) return this
  guard.waiting = true
  const timer = setTimeout(() => guard.destroy.call(this), LINGER_MS)
  timer.unref()
  this.once('close', () => clearTimeout(timer))
  return this
}

/** The held answer is on its way: what was asked for meanwhile is done once it has left. */
export function closeAfterAnswer(socket: Socket): void {
  if ((socket as GuardedSocket)[GUARD]?.waiting === true) socket.destroySoon()
}
