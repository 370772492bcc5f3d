const WIDTH = 72
const HEIGHT = 20

/** The last half minute; the figure beside it says what it is now. */
export function Sparkline({ values, from }: { values: readonly number[]; from: 'zero' | 'lowest' }) {
  const least = from === 'zero' ? 0 : Math.min(...values)
  const range = Math.max(...values, least + 1) - least
  const step = WIDTH / Math.max(1, values.length - 1)
  const points = values.map(
    (value, index) => `${(index * step).toFixed(1)},${(HEIGHT - 2 - ((value - least) / range) * (HEIGHT - 4)).toFixed(1)}`,
  )
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      {values.length > 1 && (
        <>
          <polygon points={`0,${HEIGHT} ${points.join(' ')} ${WIDTH},${HEIGHT}`} />
          <polyline points={points.join(' ')} />
        </>
      )}
    </svg>
  )
}
