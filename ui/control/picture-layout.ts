/** Where everything in the picture is, and the lines between. */
import type { Curve } from './flow.ts'

export const RADIUS = 30
export const VISITORS_Y = 26
export const GATEWAY_Y = 104
export const SERVER_Y = 216
export const STORE_Y = 322
const STEP = 150
const CROWDED = 6
const NARROWEST = 440
const MARGIN = 110

export interface Layout {
  width: number
  height: number
  middle: number
  xOf(index: number): number
  toGateway: Curve
  toServer(index: number): Curve
  toStore(index: number): Curve
  between(from: number, to: number): Curve
}

export function layoutOf(count: number, hasStore: boolean): Layout {
  const step = count > CROWDED ? STEP / 1.9 : STEP
  const span = step * Math.max(0, count - 1)
  const width = Math.max(NARROWEST, span + MARGIN)
  const middle = width / 2
  const xOf = (index: number): number => middle - span / 2 + index * step
  return {
    width,
    height: hasStore ? 356 : 290,
    middle,
    xOf,
    toGateway: [middle, VISITORS_Y + 18, middle, VISITORS_Y + 30, middle, GATEWAY_Y - 34, middle, GATEWAY_Y - 22],
    toServer(index) {
      const x = xOf(index)
      return [middle, GATEWAY_Y + 20, middle, GATEWAY_Y + 62, x, SERVER_Y - 78, x, SERVER_Y - RADIUS]
    },
    toStore(index) {
      const x = xOf(index)
      return [x, SERVER_Y + RADIUS, x, SERVER_Y + 68, middle, STORE_Y - 58, middle, STORE_Y - 20]
    },
    /** Neighbours straight through the air, others in a bow below; there and back are the same line. */
    between(from, to) {
      const [x, y] = [xOf(from), SERVER_Y]
      const goal = xOf(to)
      const side = Math.sign(goal - x)
      if (Math.abs(from - to) === 1) {
        const [start, end] = [x + side * RADIUS, goal - side * RADIUS]
        return [start, y, start + (end - start) / 3, y, end - (end - start) / 3, y, end, y]
      }
      const depth = Math.min(58, 26 + Math.abs(from - to) * 8)
      return [x + side * 20, y + 23, x + side * 40, y + depth, goal - side * 40, y + depth, goal - side * 20, y + 23]
    },
  }
}
