/** Small dots that travel along the lines of the picture, one for each so many requests or copies that were counted. */
export type Curve = readonly [x0: number, y0: number, x1: number, y1: number, x2: number, y2: number, x3: number, y3: number]
export type DotKind = 'request' | 'copy' | 'store'

const TRAVEL_MS = 700
/** Figures come twice a second: what they count is spread over the time until the next. */
const SPREAD_MS = 500
const PER_LINE_MAX = 6
const DOTS_MAX = 120
const SVG = 'http://www.w3.org/2000/svg'

interface Dot {
  element: SVGElement
  curve: Curve
  startsAt: number
}

const still = matchMedia('(prefers-reduced-motion: reduce)')

export interface Flow {
  send(curve: Curve, count: number, kind: DotKind): void
  stop(): void
}

export function createFlow(group: SVGGElement): Flow {
  let dots: Dot[] = []
  let frame = 0

  function draw(now: number): void {
    dots = dots.filter(({ curve, element, startsAt }) => {
      const part = (now - startsAt) / TRAVEL_MS
      if (part >= 1) element.remove()
      else if (part > 0) {
        const [x, y] = pointAt(curve, part)
        element.setAttribute('cx', x.toFixed(1))
        element.setAttribute('cy', y.toFixed(1))
        if (element.parentNode === null) group.append(element)
      }
      return part < 1
    })
    frame = dots.length === 0 ? 0 : requestAnimationFrame(draw)
  }

  return {
    send(curve, count, kind) {
      if (still.matches || document.hidden) return
      const shown = Math.min(PER_LINE_MAX, count, DOTS_MAX - dots.length)
      const now = performance.now()
      for (let number = 0; number < shown; number++) {
        const element = document.createElementNS(SVG, 'circle')
        element.setAttribute('class', `dot ${kind}`)
        element.setAttribute('r', '4')
        dots.push({ element, curve, startsAt: now + (SPREAD_MS / shown) * (number + Math.random()) })
      }
      if (frame === 0 && dots.length > 0) frame = requestAnimationFrame(draw)
    },
    stop() {
      cancelAnimationFrame(frame)
      for (const { element } of dots) element.remove()
      dots = []
    },
  }
}

/** A cubic Bézier curve. */
function pointAt([x0, y0, x1, y1, x2, y2, x3, y3]: Curve, t: number): [x: number, y: number] {
  const rest = 1 - t
  const [a, b, c, d] = [rest ** 3, 3 * rest ** 2 * t, 3 * rest * t ** 2, t ** 3]
  return [a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3]
}

export function pathOf([x0, y0, x1, y1, x2, y2, x3, y3]: Curve): string {
  return `M${x0} ${y0}C${x1} ${y1} ${x2} ${y2} ${x3} ${y3}`
}
