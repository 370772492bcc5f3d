// … and types in another, without declaring anything global.
import type { IncomingMessage } from 'node:http'
import { SessionError } from 'holdfast'
import type { Session } from 'holdfast'
import { sessions } from './sessions.js'

export function addToCart(request: IncomingMessage, item: string): string[] {
  const session = sessions.of(request)
  session.data.cart.push(item)
  session.add('visits')
  const visits: number = session.data.visits
  // @ts-expect-error `cart` holds strings
  session.data.cart.push(visits)
  // @ts-expect-error no such field
  void session.data.basket
  // @ts-expect-error only numbers are counters
  session.add('cart')
  // @ts-expect-error `data` is read-only: change its fields
  session.data = { cart: [], visits: 0 }
  // @ts-expect-error `update` must not be async
  void session.update(async (data) => data.visits)
  return session.data.cart
}

export function codeOf(error: unknown): string {
  return SessionError.is(error) ? error.code : 'UNKNOWN'
}

// @ts-expect-error nothing is added to the request's type
export const untouched = (request: IncomingMessage): unknown => request.session

export const keyOf = (session: Session<{ cart: string[] }>): string => session.key
