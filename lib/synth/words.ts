/** Words of robot instructions, each a whole piece of the synthetic tokenizers. Most frequent first. */
export const words: readonly string[] = `
the to and on a in of it take should robot action what out place put pick up from into with left right
bowl plate drawer cabinet black white red blue green yellow orange purple pink brown gray wooden top bottom middle
front back between next beside behind under over above below near inside outside center side edge corner
open close turn push pull move lift lower rotate flip fold unfold stack pour wipe grasp grab release hold press slide
insert remove stir scoop sweep twist screw unscrew hang drop throw shake reach touch clean cover uncover arrange sort
ramekin cookie box stove burner moka pot frying pan mug cup bottle wine rack basket tray caddy book compartment
cream cheese butter milk ketchup tomato sauce soup alphabet salad dressing bbq barbecue chocolate pudding juice popcorn
spoon fork knife spatula ladle whisk lid can jar bag towel cloth shirt sponge block cube toy ball banana apple carrot
corn pepper potato eggplant lemon lime mushroom onion bread egg sushi pizza table desk sink counter shelf microwave
oven fridge door handle button switch lever knob faucet tape pen pencil marker paper scissors screwdriver hammer
object item both one two three first second last then while that this these those all other another same is are be
at by for its your their not no until after before again away down off around through against along across together
slowly carefully gently arm arms gripper hand hands end half quarter full empty small large big tall short long
chefmate hope akita philadelphia layer area zone region space level position
`
  .trim()
  .split(/\s+/);
