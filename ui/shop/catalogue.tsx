import { euros, PRODUCTS } from './products.tsx'
import { addToCart, cart } from './session.ts'

export function Catalogue() {
  return (
    <section aria-label="Products">
      <ul class="products">
        {PRODUCTS.map((product) => {
          const Picture = product.picture
          const count = cart.value.get(product.id)
          return (
            <li key={product.id} class="panel product">
              <svg class={`picture ${product.tint}`} viewBox="0 0 64 64" aria-hidden="true">
                <Picture />
              </svg>
              <div class="about">
                <h2>{product.name}</h2>
                <p class="soft small">{product.line}</p>
              </div>
              <div class="buy">
                <span class="price">{euros(product.price)}</span>
                <button type="button" data-add={product.id} onClick={() => void addToCart(product.id, 1)}>
                  Add<span class="hidden"> {product.name} to the cart</span>
                  {count !== undefined && ` · ${count}`}
                </button>
              </div>
            </li>
          )
        })}
      </ul>
    </section>
  )
}
